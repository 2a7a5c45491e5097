"""A SageMaker runtime on this machine: AWS's front door, and behind it an echo container or a server of yours."""

# Llama 3.1's and gpt-oss's. Coding agents begin with 9,000 tokens (Codex) or 21,000 (Claude Code), and ask for 32,000.
DEFAULT_CONTEXT_LENGTH = 131_072
