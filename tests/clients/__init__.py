"""Real clients, on a real LiteLLM proxy before the local SageMaker runtime, or on LiteLLM itself.

Each test says what the client got and what reached SageMaker; what the container answers is the echo's, made anew
from the request that it received.
"""
