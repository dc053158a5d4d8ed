"""What training, export and serving agree on: classes, picture geometry, instances, the artifact and errors.

Numpy and OpenCV only: the serving install has no torch.
"""
