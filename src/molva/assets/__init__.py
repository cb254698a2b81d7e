"""Files shipped with molva: the voice-activity model and a short clip of speech. See NOTICE.md."""
