"""Report of after-tests: `records` reads them, `judged` turns them into effects and calls, `table` prints them, and
`reread` makes all of it again from a study's folder."""
