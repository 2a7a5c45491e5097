"""AWS: credentials, tokens and signatures, hosts, S3 and the control plane. Does not import LiteLLM."""
