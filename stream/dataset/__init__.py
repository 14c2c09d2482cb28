"""Face tracks of a data set's videos, cut by the live detector, tracker, quality gate and cropper."""
