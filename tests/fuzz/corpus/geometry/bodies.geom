# two bodies
body Cylinder
  circle_n 0 0 0.5 16
  center 0 0
  motion pitchplunge 0.1 1 0 0.2 1 0.5
end
body Plate
  line_aoa 1 0.5 0 10 9
  line 0 0 1 0 0.1
  motion eldredge2 45 11 1 2 3 4
  point 3 4
end
