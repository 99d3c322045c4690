"""A run as the researcher sees it: started, queued, claimed, performed, cancelled, resumed, healed. Torch-free."""
