"""Windows, calibration and verdicts: functions of media time."""
