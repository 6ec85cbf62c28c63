"""Model records made of the published tables: of timm, torchvision and Ascend's ModelZoo."""
