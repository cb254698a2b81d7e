"""Whatever reads what strangers write is fed made-up input until it breaks. See docs/reliability.md."""
