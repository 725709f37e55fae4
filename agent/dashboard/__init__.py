"""The live view: a frozen snapshot and the settings of the view become lines of text, and a tiny loop shows them."""
