"""The starter model's recipe: data, training stages and the measure of what was trained. See `../README.md`."""

import os

# Read when torch is loaded: threads that wait for work shall sleep, on machines that others use too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Read when transformers is loaded: nothing shall be said of packages that are not needed.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import diffusers
import transformers

diffusers.utils.logging.disable_progress_bar()
diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
