"""The starter model's recipe: data, training stages and the measure of what was trained. `../README.md` tells how to run it."""
