"""The wire contract (``streetmask/v1/segmentation.proto``) and the code generated from it, kept in step by CI."""
