"""The video side: from a source to faces, scores, pictures and numbers."""
