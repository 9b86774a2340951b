"""Drawing of worlds on a grid of cells: a canvas, sprites, and boards made of scenes."""
