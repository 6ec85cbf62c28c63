"""PyTorch: the original network, on the CPU as the reference, and on NVIDIA's GPUs."""
