//! `undoubt run`: puts a load on a coordinator. Its place; not part of the program yet.
