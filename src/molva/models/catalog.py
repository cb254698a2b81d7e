"""Which models molva knows: where their files come from, what they must be, and what they can do.

Pinned hashes and sizes belong to the pinned revision. None means nobody has confirmed the value: the hub's own hash
is then what a download is checked against.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from molva.errors import UnknownModel

Family = Literal["gigaam", "whisper", "speakers"]

DEFAULT_MODEL = "gigaam-v3-e2e-rnnt"

REBUILT_FORMS: tuple[Literal["s8", "s7", "u8", "fp16"], ...] = ("s8", "s7", "u8", "fp16")
"""Formats of weights that molva makes itself: 8 and 7 bits with a sign, 8 without, and FP16."""

MULTILINGUAL_GIGAAM_LANGUAGES = ("ru", "kk", "ky", "uz", "en")

# fmt: off
WHISPER_LANGUAGES = (
    "af", "am", "ar", "as", "az", "ba", "be", "bg", "bn", "bo", "br", "bs", "ca", "cs", "cy", "da", "de", "el", "en",
    "es", "et", "eu", "fa", "fi", "fo", "fr", "gl", "gu", "ha", "haw", "he", "hi", "hr", "ht", "hu", "hy", "id", "is",
    "it", "ja", "jw", "ka", "kk", "km", "kn", "ko", "la", "lb", "ln", "lo", "lt", "lv", "mg", "mi", "mk", "ml", "mn",
    "mr", "ms", "mt", "my", "ne", "nl", "nn", "no", "oc", "pa", "pl", "ps", "pt", "ro", "ru", "sa", "sd", "si", "sk",
    "sl", "sn", "so", "sq", "sr", "su", "sv", "sw", "ta", "te", "tg", "th", "tk", "tl", "tr", "tt", "uk", "ur", "uz",
    "vi", "yi", "yo", "zh",
)
"""Whisper's own codes; `large-v3` and its turbo add Cantonese (`yue`)."""
# fmt: on


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model."""

    name: str
    sha256: str | None = None
    size: int | None = None
    """Bytes."""
    optional: bool = False
    """The engine has a default for what is in it."""
    repository: str | None = None
    """At the hub, where it is not the model's."""
    name_at_hub: str | None = None
    """With its folder, where it is not the name on the disk."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of the catalog. `files` go from small to large: a refusal shows before the big download."""

    name: str
    family: Family
    variant: str
    """The head or size: `e2e_rnnt`, `ctc`, `base`."""
    repository: str
    revision: str
    """A commit of the repository, or a branch where no commit is confirmed."""
    files: tuple[ModelFile, ...]
    licence: str
    languages: tuple[str, ...]
    punctuation: bool

    @property
    def translates(self) -> bool:
        """Whether it can write English for what was said in another language. Turbo was not trained to."""
        return self.family == "whisper" and not self.variant.endswith("turbo")

    @property
    def size_bytes(self) -> int | None:
        """What a download brings; None while the size of a required file is not confirmed."""
        if any(file.size is None and not file.optional for file in self.files):
            return None
        return sum(file.size or 0 for file in self.files)


def int8_names(name: str) -> tuple[str, ...]:
    """Names the INT8 sibling of an encoder or CTC file may have, preferred first; empty for any other file.

    `X_int8.onnx` is what gigastt writes, `X.int8.onnx` what onnx-asr publishes.
    """
    stem = name.removesuffix(".onnx")
    if stem == name or not stem.endswith(("_encoder", "_ctc")):
        return ()
    return f"{stem}_int8.onnx", f"{stem}.int8.onnx"


def rebuilt_name(name: str, form: str) -> str:
    """Name of the folder with what molva makes of an encoder or CTC file; `form` is the format of its weights."""
    return f"{name.removesuffix('.onnx')}.{form}"


def rebuilt_names(name: str) -> tuple[str, ...]:
    """All names such a folder may have; empty for any other file."""
    return tuple(rebuilt_name(name, form) for form in REBUILT_FORMS) if int8_names(name) else ()


def find(name: str) -> ModelSpec:
    """The model called `name`. Raises UnknownModel, which suggests a near name where there is one."""
    return _find(name, CATALOG)


def find_any(name: str) -> ModelSpec:
    """As `find`, also of models that recognise nothing themselves."""
    return _find(name, EVERYTHING)


def _find(name: str, among: Mapping[str, ModelSpec]) -> ModelSpec:
    if spec := among.get(name):
        return spec
    error = UnknownModel(name)
    if near := difflib.get_close_matches(name.lower(), among, n=1):
        error.args = (f"{error} Did you mean '{near[0]}'?",)
    raise error


_GIGAAM_CONFIG = ModelFile("config.json", optional=True)


def _gigaam(
    variant: str,
    repository: str,
    revision: str,
    files: tuple[ModelFile, ...],
    *,
    languages: tuple[str, ...] = ("ru",),
    punctuation: bool = False,
    config: ModelFile = _GIGAAM_CONFIG,
) -> ModelSpec:
    return ModelSpec(
        name="gigaam-" + variant.replace("_", "-"),
        family="gigaam",
        variant=variant.removeprefix("v2_").removeprefix("v3_"),
        repository=repository,
        revision=revision,
        files=(config, *files),
        licence="MIT",
        languages=languages,
        punctuation=punctuation,
    )


_V3_REPOSITORY = ("istupakov/gigaam-v3-onnx", "322c3b29492673eb7d0b434bfa9dfb8653e34d02")
_V3_CONFIG = ModelFile(
    "config.json", "0641fcf73f4af791c73f05083e38a658ff5dcbee3534a0c61396c10f4b97f0fe", 135, optional=True
)
_V3_VOCABULARY = ModelFile("v3_vocab.txt", "a9143c30844d3c0bee3e9e927e4084774eb1b9eeaafc473b2c4521e4911a7c07", 198)
_MULTILINGUAL_VOCABULARY = ModelFile(
    "multilingual_vocab.txt", "4d130287892e1099fedfb3f93c4b4cf8a263151158801680b28977d1be4133f4", 393
)

_GIGAAM = (
    _gigaam(
        "v3_e2e_rnnt",
        *_V3_REPOSITORY,
        (
            ModelFile(
                "v3_e2e_rnnt_vocab.txt", "39abae20e692998290c574e606f11a9edef2902a1995463fcff63d1490cf22b7", 13_354
            ),
            ModelFile(
                "v3_e2e_rnnt_joint.onnx", "602ff7017a93311aad34df1437c8d7f49911353c13d6eae7a6ee7b041339465c", 2_712_896
            ),
            ModelFile(
                "v3_e2e_rnnt_decoder.onnx",
                "7b0a16d67fd2cb37061decc93c69e364a9ab27afee3c57495d55b1c974cf7231",
                4_599_910,
            ),
            ModelFile(
                "v3_e2e_rnnt_encoder.onnx",
                "cd60b3764a832e8560ae6d3ad0b10adc1a42ffae412b9476f25620aae4f4a508",
                885_084_534,
            ),
        ),
        punctuation=True,
        config=_V3_CONFIG,
    ),
    _gigaam(
        "v3_e2e_ctc",
        *_V3_REPOSITORY,
        (
            ModelFile(
                "v3_e2e_ctc_vocab.txt", "142de7570b3de5b3035ce111a89c228e80e6085273731d944093ddf24fa539cd", 2_007
            ),
            ModelFile(
                "v3_e2e_ctc.onnx", "377701bd33568f4733feec2db5b2dc12544fd09a5a5dfa69ccf55d161f84027a", 885_950_079
            ),
        ),
        punctuation=True,
        config=_V3_CONFIG,
    ),
    _gigaam(
        "v3_rnnt",
        *_V3_REPOSITORY,
        (
            _V3_VOCABULARY,
            ModelFile("v3_rnnt_joint.onnx", "fd1d02f45c2ad3d6b67cc149811ad794ab4b020ed49a0a9e2790a8619d1cddd8"),
            ModelFile("v3_rnnt_decoder.onnx", "443c3b7bd42b453611618135d6b1e7d9467e5dd97c8a68501da4aa355750c0da"),
            ModelFile("v3_rnnt_encoder.onnx", "7ae7509c3f1128369564df0b00e2ee4950adf539de2392ac5c800a5bc04c7132"),
        ),
        config=_V3_CONFIG,
    ),
    _gigaam("v3_ctc", *_V3_REPOSITORY, (_V3_VOCABULARY, ModelFile("v3_ctc.onnx")), config=_V3_CONFIG),
    _gigaam("v2_ctc", "istupakov/gigaam-v2-onnx", "main", (ModelFile("v2_vocab.txt"), ModelFile("v2_ctc.onnx"))),
    _gigaam(
        "v2_rnnt",
        "istupakov/gigaam-v2-onnx",
        "main",
        (
            ModelFile("v2_vocab.txt"),
            ModelFile("v2_rnnt_joint.onnx"),
            ModelFile("v2_rnnt_decoder.onnx"),
            ModelFile("v2_rnnt_encoder.onnx"),
        ),
    ),
    _gigaam(
        "multilingual_ctc",
        "istupakov/gigaam-multilingual-ctc-onnx",
        "458860e1983aef670dd9795fb6af603c82767d5d",
        (
            _MULTILINGUAL_VOCABULARY,
            ModelFile(
                "multilingual_ctc.onnx", "8bc803289f9cb5147ee95451fd9bdba219b1ecf1ddcd59a3651177c103c9eeec", 885_388_622
            ),
        ),
        languages=MULTILINGUAL_GIGAAM_LANGUAGES,
    ),
    _gigaam(
        "multilingual_large_ctc",
        "istupakov/gigaam-multilingual-large-ctc-onnx",
        "07665ab5e54371dd1ac7b8b10f06478003723573",
        (
            _MULTILINGUAL_VOCABULARY,
            ModelFile(
                "multilingual_large_ctc.onnx",
                "4a2d22279e90648262e1259e82982f1f1f7e2c4957e187c2b68459458c92fd5f",
                909_828,
            ),
            # The fp32 weights are too large for one protobuf file: the graph above refers to this one by name.
            ModelFile(
                "multilingual_large_ctc.onnx.data",
                "5a7bf60fd3883a707dda19862b58a9a30777bde3e439ff76b49580da1f18b1f1",
                2_343_837_696,
            ),
        ),
        languages=MULTILINGUAL_GIGAAM_LANGUAGES,
    ),
)


def _whisper(
    size: str,
    revision: str,
    config: ModelFile,
    weights: ModelFile,
    *,
    repository: str | None = None,
    text_files: tuple[ModelFile, ...],
    languages: tuple[str, ...] = WHISPER_LANGUAGES,
) -> ModelSpec:
    return ModelSpec(
        name=f"whisper-{size}",
        family="whisper",
        variant=size,
        repository=repository or f"Systran/faster-whisper-{size}",
        revision=revision,
        files=(config, *text_files, weights),
        licence="MIT",
        languages=languages,
        punctuation=True,
    )


_WHISPER_TEXT_FILES = (
    ModelFile("vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 459_861),
    ModelFile("tokenizer.json", "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab", 2_203_239),
)
_WHISPER_V3_TEXT_FILES = (
    # Says 128 mel bands; the earlier sizes have 80, which is the default.
    ModelFile("preprocessor_config.json", "7ccc62c6f2765af1f3b46c00c9b5894426835a05021c8b9c01eecb6dfb542711", 340),
    ModelFile("vocabulary.json", "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1", 1_068_114),
)

_WHISPER = (
    _whisper(
        "tiny",
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        ModelFile("config.json", "a73a28cdfe1c43ccc7202fa333d1f89c202477271407ae9a7f19afa52039cac8", 2_249),
        ModelFile("model.bin", "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1", 75_538_270),
        text_files=_WHISPER_TEXT_FILES,
    ),
    _whisper(
        "base",
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        ModelFile("config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", 2_309),
        ModelFile("model.bin", "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9", 145_217_532),
        text_files=_WHISPER_TEXT_FILES,
    ),
    _whisper(
        "small",
        "536b0662742c02347bc0e980a01041f333bce120",
        ModelFile("config.json", "b55496ac7940a7ae47d2c01eab40edfd8701feec1229d9cce3b40014383fb828", 2_370),
        ModelFile("model.bin", "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671", 483_546_902),
        text_files=_WHISPER_TEXT_FILES,
    ),
    _whisper(
        "medium",
        "08e178d48790749d25932bbc082711ddcfdfbc4f",
        ModelFile("config.json", "3622a2ddc41ec0e0fd4e68c13c6830f03b90c38d89aaad184de02c8c642cf807", 2_257),
        ModelFile("model.bin", "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae", 1_527_906_378),
        text_files=_WHISPER_TEXT_FILES,
    ),
    _whisper(
        "large-v3",
        "edaa852ec7e145841d8ffdb056a99866b5f0a478",
        ModelFile("config.json", "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9", 2_394),
        ModelFile("model.bin", "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1", 3_087_284_237),
        text_files=(
            *_WHISPER_V3_TEXT_FILES,
            ModelFile("tokenizer.json", "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca", 2_480_617),
        ),
        languages=(*WHISPER_LANGUAGES, "yue"),
    ),
    _whisper(
        "large-v3-turbo",
        "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        ModelFile("config.json", "b0253ea6c0d3bea6b1e19e91a02acfd3b53f4467362efcb5a3e6b16c9b3a9b7e", 2_263),
        ModelFile("model.bin", "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da", 1_617_884_929),
        repository="mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        text_files=(
            *_WHISPER_V3_TEXT_FILES,
            ModelFile("tokenizer.json", "297b13372ac43916285644fb9687add3cc62ee2a1adb60da3dc25cc94c1871fd", 2_710_337),
        ),
        languages=(*WHISPER_LANGUAGES, "yue"),
    ),
)

CATALOG = MappingProxyType({spec.name: spec for spec in (*_GIGAAM, *_WHISPER)})
"""Every model that recognises speech by its name, the recommended ones first."""

SPEAKERS = ModelSpec(
    name="speakers",
    family="speakers",
    variant="pyannote-wespeaker",
    repository="onnx-community/wespeaker-voxceleb-resnet34-LM",
    revision="main",
    files=(
        ModelFile(
            "segmentation-3.0.onnx",
            repository="onnx-community/pyannote-segmentation-3.0",
            name_at_hub="onnx/model.onnx",
        ),
        ModelFile(
            "wespeaker_resnet34.onnx",
            # gigastt holds its download to this very hash.
            "3955447b0499dc9e0a4541a895df08b03c69098eba4e56c02b5603e9f7f4fcbb",
            26_535_549,
            name_at_hub="onnx/model.onnx",
        ),
    ),
    licence="MIT, CC-BY-4.0",
    languages=(),
    punctuation=False,
)
"""Tells speakers apart, beside any of the others: segmentation and embedding."""

EVERYTHING = MappingProxyType({**CATALOG, SPEAKERS.name: SPEAKERS})
"""Every model by its name."""
