"""YOLACT++ in plain PyTorch: one file per box of the paper's figure."""
