"""Where dates are written in another way than Django's: FORMAT_MODULE_PATH."""
