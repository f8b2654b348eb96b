"""The program that author code lives in. It stands alone: standard library and relative imports only."""
