"""Published facts as tables: timm's, torchvision's and Ascend's models, signatures, ImageNet's relatives."""
