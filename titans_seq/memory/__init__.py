"""Memory layers with a learned start: structure, bias, retention gate and algorithm, by name or by part."""
