"""Image sets as tar shards (the layout of WebDataset): names, an index of what lies where, writing. Neither torch
nor Django."""
