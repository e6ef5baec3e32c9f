body a
point 1 2
motion lagstep2 30 1 0.1 1
end
body b
raw x
circle 0 0 1 0.5
motion sigmoidalstep 10 1 0
end
