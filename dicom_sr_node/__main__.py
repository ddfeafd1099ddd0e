"""`python -m dicom_sr_node` is `srnode`."""

from dicom_sr_node.cli import main

if __name__ == "__main__":
    main()
