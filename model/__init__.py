"""The super-resolution generator: torch and numpy, no DICOM and no database. Enter by `model.upscaler.Upscaler`."""
