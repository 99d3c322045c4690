"""Classifiers that decide by comparing: nearest neighbours, EMD-Corr, CHM-Corr (definitions §6). PyTorch only."""
