"""A SageMaker runtime on this machine: AWS's front door, and behind it an echo container or a server of yours."""
