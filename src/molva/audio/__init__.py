"""bytes -> samples. Streaming; knows no asyncio and no network."""
