package refresh

// RotateSQL is for the benchmark that has pgbench run the same.
const RotateSQL = rotateSQL
