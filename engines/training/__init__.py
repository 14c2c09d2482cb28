"""Training: stills and their sources, pairing, augmentation, the fit loops, measurement. The only rooms beside
``engines.models`` and ``engines.export`` that import torch; the live path imports none of them."""
