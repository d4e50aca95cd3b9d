//! Which way up a camera held a picture: the tag `Orientation` of Exif 2.32, section 4.6.4, in TIFF 6.0's structure.

use super::picture_files::Picture;

const ORIENTATION: u16 = 0x0112;
const UPRIGHT: u16 = 1;
/// Bytes of an entry: tag, type, count and value.
const ENTRY: usize = 12;

/// The orientation, 1 to 8, that Exif data say; 1, upright, where they are damaged or say none.
pub(super) fn orientation(exif: &[u8]) -> u16 {
    let found = find(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    found.filter(|orientation| (1..=8).contains(orientation)).unwrap_or(UPRIGHT)
}

fn find(tiff: &[u8]) -> Option<u16> {
    let big = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => false,
        [b'M', b'M', 0, 42] => true,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = tiff.get(at..)?.first_chunk()?;
        Some(if big { u16::from_be_bytes(*bytes) } else { u16::from_le_bytes(*bytes) })
    };
    let directory = tiff.get(4..)?.first_chunk()?;
    let directory =
        if big { u32::from_be_bytes(*directory) } else { u32::from_le_bytes(*directory) } as usize;
    let first = directory.checked_add(2)?;
    let entries = (0..usize::from(u16_at(directory)?)).map_while(|i| first.checked_add(i * ENTRY));
    let entry = entries.take_while(|at| *at < tiff.len()).find(|at| u16_at(*at) == Some(ORIENTATION))?;
    u16_at(entry + 8)
}

/// The picture turned, and mirrored, as its orientation asks for.
pub(super) fn upright(picture: Picture, orientation: u16) -> Picture {
    if orientation == UPRIGHT {
        return picture;
    }
    let Picture { width, height, rgba } = picture;
    let turned = orientation >= 5;
    let (new_width, new_height) = if turned { (height, width) } else { (width, height) };
    // Where rows and columns of the upright picture run in the file's, backwards or not.
    let (left, up) = (matches!(orientation, 2 | 3 | 7 | 8), matches!(orientation, 3 | 4 | 6 | 7));
    let pixels = rgba.as_chunks::<4>().0;
    let at = |x: usize, y: usize| {
        let (x, y) = if turned { (y, x) } else { (x, y) };
        let x = if left { width - 1 - x } else { x };
        let y = if up { height - 1 - y } else { y };
        pixels.get(y * width + x).copied().unwrap_or_default()
    };
    let rgba = (0..new_height).flat_map(|y| (0..new_width).flat_map(move |x| at(x, y))).collect();
    Picture { width: new_width, height: new_height, rgba }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exif data that say one orientation, between two other tags.
    fn exif(big: bool, orientation: u16) -> Vec<u8> {
        let short = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let long = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut bytes = if big { b"MM\0\x2a".to_vec() } else { b"II\x2a\0".to_vec() };
        bytes.extend(long(8));
        bytes.extend(short(3));
        for (tag, value) in [(0x0100, 7), (ORIENTATION, orientation), (0x0128, 2)] {
            bytes.extend([short(tag), short(3)].concat());
            bytes.extend(long(1));
            bytes.extend([short(value), short(0)].concat());
        }
        bytes
    }

    #[test]
    fn the_tag_is_found() {
        for big in [false, true] {
            assert_eq!(orientation(&exif(big, 6)), 6);
            assert_eq!(orientation(&[b"Exif\0\0".as_slice(), &exif(big, 3)].concat()), 3);
            assert_eq!(orientation(&exif(big, 9)), UPRIGHT);
            for length in 0..exif(big, 6).len() {
                assert!([1, 6].contains(&orientation(&exif(big, 6)[..length])));
            }
        }
        assert_eq!(orientation(b"II\x2a\0\xff\xff\xff\xff"), UPRIGHT);
    }

    /// The figure of the standard: the letter F in each of the eight orientations becomes F.
    #[test]
    fn pictures_are_turned_upright() {
        let f = ["###", "#..", "##.", "#..", "#.."];
        let stored: [&[&str]; 8] = [
            &f,
            &["###", "..#", ".##", "..#", "..#"],
            &["..#", "..#", ".##", "..#", "###"],
            &["#..", "#..", "##.", "#..", "###"],
            &["#####", "#.#..", "#...."],
            &["#....", "#.#..", "#####"],
            &["....#", "..#.#", "#####"],
            &["#####", "..#.#", "....#"],
        ];
        let picture = |rows: &[&str]| {
            let rgba = rows.concat().bytes().flat_map(|byte| [byte; 4]).collect();
            Picture { width: rows[0].len(), height: rows.len(), rgba }
        };
        for (orientation, rows) in (1..).zip(stored) {
            assert_eq!(upright(picture(rows), orientation), picture(&f), "{orientation}");
        }
    }
}
