// Where a row begins in x. With TAIL, x has the first values of every row and tail the others: also where the row would
// begin in tail if that had all of it, which may wrap, as sums with a place in it do; and how many values x has.

#if TAIL == 1
alias Row = vec3<u32>;
#else
alias Row = u32;
#endif

// Row `row` of `length` values, or of as many Lanes.
fn row_at(row: u32, length: u32, in_x: u32) -> Row {
#if TAIL == 1
    return vec3<u32>(row * in_x, row * (length - in_x) - in_x, in_x);
#else
    return row * length;
#endif
}
