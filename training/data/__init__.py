"""Where pictures and their instances come from. Torch-free: data is numpy until the loop."""
