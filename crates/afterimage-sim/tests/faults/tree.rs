//! F31: inner pages that lie, with checksums that are right.

use super::*;
use afterimage_sim::bytes::{crc32c, u16_at, u64_at, varint};

const PAGE: usize = 4096;

fn page(image: &Image, number: u64) -> Vec<u8> {
    let pages = layout().path("pages");
    image
        .read(&pages, number * PAGE as u64, PAGE)
        .expect("the page is there")
}

/// The file's id, which every page's checksum begins with: found by trying those that the page itself accepts.
fn file_id(image: &Image) -> [u8; 16] {
    let header = page(image, 0);
    (0..PAGE - 16)
        .map(|at| <[u8; 16]>::try_from(&header[at..at + 16]).expect("sixteen"))
        .find(|id| sum(id, 0, &header).to_le_bytes() == header[..4])
        .expect("the header names the file")
}

fn sum(id: &[u8; 16], number: u64, page: &[u8]) -> u32 {
    crc32c(&[id, &number.to_le_bytes(), &page[4..]])
}

/// Writes the page with a checksum that is right.
fn seal(image: &mut Image, id: &[u8; 16], number: u64, mut page: Vec<u8>) {
    let sum = sum(id, number, &page).to_le_bytes();
    page[..4].copy_from_slice(&sum);
    image.write_bytes(&layout().path("pages"), number * PAGE as u64, &page);
}

/// Bytes of a cell's entry: its offset, and the head of its key.
const ENTRY: usize = 6;

/// Where the cells' child numbers stand on an inner page.
fn children(page: &[u8]) -> Vec<usize> {
    let count = usize::from(u16_at(page, 30).expect("a header"));
    let child = |n: usize| {
        let cell = usize::from(u16_at(page, 96 + ENTRY * n).expect("an offset"));
        let (len, rest) = varint(&page[cell + 1..]).expect("a length");
        page.len() - rest.len() + len as usize
    };
    (0..count).map(child).collect()
}

#[test]
fn an_inner_page_that_lies_is_an_error_and_no_loop() {
    let (image, right) = database(11, true);
    let id = file_id(&image);
    let pages = image.len(&layout().path("pages")).expect("pages") / PAGE as u64;
    // The root of the table: an inner page of tree 16 or above.
    let root = (0..pages)
        .find(|n| {
            let page = page(&image, *n);
            page[6] == 4 && u16_at(&page, 24).is_some_and(|tree| tree >= 16)
        })
        .expect("the tree has two levels");
    let sound = page(&image, root);
    let places = children(&sound);
    assert!(places.len() > 3, "{}", places.len());
    let child = |n: usize| u64_at(&sound, places[n]).expect("a child");
    let mut errors = 0;
    let mut attempt = |what: String, lie: &dyn Fn(&mut Vec<u8>)| {
        let mut page = sound.clone();
        lie(&mut page);
        let mut bad = image.clone();
        seal(&mut bad, &id, root, page);
        let found = look(&bad);
        assert_no_lie(&found, &right, &what);
        errors += u32::from(!matches!(found, Found::Rows(_)));
    };
    for n in [0, 1, places.len() - 1] {
        let wrong = [
            root,
            0,
            1,
            2,
            3,
            pages,
            pages + 7,
            1 << 40,
            u64::MAX,
            child(2),
            child((n + 1) % places.len()),
        ];
        for to in wrong.into_iter().filter(|to| *to != child(n)) {
            attempt(format!("child {n} is {to}"), &|page| {
                page[places[n]..places[n] + 8].copy_from_slice(&to.to_le_bytes());
            });
        }
    }
    let swap = |page: &mut Vec<u8>, a: usize, b: usize| {
        for byte in 0..ENTRY {
            page.swap(96 + ENTRY * a + byte, 96 + ENTRY * b + byte);
        }
    };
    attempt("keys out of order".to_string(), &|page| swap(page, 1, 2));
    attempt("the first key is not the first".to_string(), &|page| {
        swap(page, 0, 1)
    });
    for level in [0, 2, 31, 33, 255] {
        attempt(format!("level {level}"), &|page| page[7] = level);
    }
    for count in [0u16, 1, 2, 3000] {
        attempt(format!("{count} cells"), &|page| {
            page[30..32].copy_from_slice(&count.to_le_bytes())
        });
    }
    attempt("a right link to itself".to_string(), &|page| {
        page[32..40].copy_from_slice(&root.to_le_bytes())
    });
    assert!(errors > 35, "{errors}");
}

/// A leaf that leads in circles to its neighbours.
#[test]
fn a_leaf_that_leads_in_circles_is_an_error_and_no_loop() {
    let (image, right) = database(12, true);
    let id = file_id(&image);
    let pages = image.len(&layout().path("pages")).expect("pages") / PAGE as u64;
    let leaves: Vec<u64> = (0..pages)
        .filter(|n| {
            let page = page(&image, *n);
            page[6] == 3 && u16_at(&page, 24).is_some_and(|tree| tree >= 16)
        })
        .collect();
    for (n, leaf) in leaves.iter().enumerate() {
        for to in [
            *leaf,
            leaves[0],
            leaves[(n + 2) % leaves.len()],
            0,
            u64::MAX,
        ] {
            let mut bad = image.clone();
            let mut lying = page(&image, *leaf);
            lying[32..40].copy_from_slice(&to.to_le_bytes());
            seal(&mut bad, &id, *leaf, lying);
            assert_no_lie(
                &look(&bad),
                &right,
                &format!("leaf {leaf} is followed by {to}"),
            );
        }
    }
}
