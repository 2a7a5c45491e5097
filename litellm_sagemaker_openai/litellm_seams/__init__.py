"""All that depends on what LiteLLM, httpx or aiohttp do not promise."""
