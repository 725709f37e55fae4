"""Training of the nets: recipes, loops, figures, model cards, export."""
