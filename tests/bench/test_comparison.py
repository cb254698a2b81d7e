"""Which engines may be compared, and what the table says of them."""

from bench.comparison import MIX, Measured, different_work, table


def engine(name: str, *, cpu_s: float = 0.1, symbols_per_s: float = 4.0) -> Measured:
    return Measured(
        name,
        load_s=[0.5],
        cpu_s={MIX: [cpu_s]},
        one_core_s={MIX: [cpu_s]},
        latency_s=[cpu_s * 5],
        symbols_per_s=symbols_per_s,
        memory_mb=400,
        peak_mb=600,
    )


def test_engines_that_emit_other_amounts_have_not_done_the_same_work() -> None:
    results = [engine("molva"), engine("less", symbols_per_s=2), engine("more", symbols_per_s=7), engine("as much")]
    assert different_work(results) == ["less", "more"]


def test_ratios_say_how_many_times_molvas_a_peer_needs() -> None:
    lines = table([engine("molva", cpu_s=0.1), engine("peer", cpu_s=0.2)])
    assert lines[2].startswith("| molva | 100 ±0% |")
    assert lines[3].startswith("| peer | 200 ±0% (2.00×) |")
