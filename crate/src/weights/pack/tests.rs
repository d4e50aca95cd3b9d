use super::transcoder::{Start, Transcoder};
use super::*;
use crate::weights::block_on;
use crate::weights::dump::{NamedTensor, TensorData, write};
use crate::weights::manifest::hex;
use crate::weights::safetensors::{Dtype, parse_header};
use sha2::{Digest as _, Sha256};

const PATH: &str = "text_encoder/model.safetensors";

/// A safetensors file in the given order of tensors, in a number format of 16 bits or F32.
fn file(dtype: &str, tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let (mut entries, mut data) = (serde_json::Map::new(), Vec::new());
    for (seed, (name, shape)) in tensors.iter().enumerate() {
        let count: usize = shape.iter().product();
        let begin = data.len();
        for i in 0..count {
            let value = ((i * i + 7 * seed) % 89) as f32 / 44.0 - 1.0;
            match dtype {
                "F32" => data.extend(value.to_le_bytes()),
                "F16" => data.extend(half::f16::from_f32(value).to_le_bytes()),
                _ => data.extend(half::bf16::from_f32(value).to_le_bytes()),
            }
        }
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()] });
        entries.insert((*name).to_owned(), entry);
    }
    let json = serde_json::Value::Object(entries).to_string();
    [&(json.len() as u64).to_le_bytes(), json.as_bytes(), &data].concat()
}

/// Not in alphabetical order; odd counts, an empty tensor, a table, convolutions and what is kept.
fn tensors() -> Vec<(&'static str, &'static [usize])> {
    vec![
        ("z.weight", &[41, 70]),
        ("z.bias", &[3]),
        ("empty", &[0, 5]),
        ("token_embedding.weight", &[70, 12]),
        ("conv.weight", &[9, 40, 3, 3]),
        ("conv_in.weight", &[16, 4, 3, 3]),
        ("position_embedding.weight", &[5, 64]),
        ("a.self_attn.v_proj.weight", &[33, 64]),
        ("last", &[7]),
    ]
}

fn header_of(bytes: &[u8]) -> &[u8] {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    &bytes[..8 + length as usize]
}

fn transcoder(bytes: &[u8], sha256: Option<String>) -> Transcoder {
    let size = bytes.len() as u64;
    let made = Transcoder::new(PATH, header_of(bytes), size, "text_encoder", &Policy::Mixed, sha256);
    made.unwrap().unwrap()
}

/// A piece of output, and the checkpoint after it.
type Taken = (Vec<u8>, Option<Vec<u8>>);

/// What comes out from `start` on when the original comes in pieces of `piece` bytes, with the checkpoint after each.
fn run(transcoder: &mut Transcoder, bytes: &[u8], start: Start, piece: usize) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    let mut drain = |transcoder: &mut Transcoder| -> Result<()> {
        while let Some(bytes) = transcoder.take()? {
            taken.push((bytes, transcoder.checkpoint().map(<[u8]>::to_vec)));
        }
        Ok(())
    };
    drain(transcoder)?;
    for mut rest in bytes[start.source as usize..].chunks(piece) {
        while !rest.is_empty() {
            rest = &rest[transcoder.push(rest)?..];
            drain(transcoder)?;
        }
    }
    Ok(taken)
}

fn start(bytes: &[u8]) -> Start {
    Start { source: header_of(bytes).len() as u64, output: 0 }
}

fn joined(pieces: &[Taken]) -> Vec<u8> {
    pieces.iter().flat_map(|(bytes, _)| bytes.clone()).collect()
}

#[test]
fn what_arrives_in_pieces_is_what_a_whole_part_becomes() {
    for dtype in ["F32", "F16", "BF16"] {
        let bytes = file(dtype, &tensors());
        let mut source = MemorySource::default();
        source.insert(PATH, bytes.clone());
        let mut files = MemorySource::default();
        block_on(pack_part(&source, "text_encoder", &Policy::Mixed, u64::MAX, &mut files)).unwrap();
        let expected = files.file_mut(PATH).clone();
        for piece in [1, 3, 1000, bytes.len()] {
            let mut transcoder = transcoder(&bytes, None);
            assert_eq!(transcoder.output_size(), expected.len() as u64);
            let pieces = run(&mut transcoder, &bytes, start(&bytes), piece).unwrap();
            assert!(joined(&pieces) == expected, "{dtype} in pieces of {piece}");
        }
        let header = parse_header(PATH, &header_of(&expected)[8..], expected.len() as u64).unwrap();
        assert!(header.tensors.values().all(|info| info.range.start % 4 == 0));
        let odd = &header.tensors["z.bias"];
        assert_eq!((odd.dtype.clone(), odd.range.end - odd.range.start), (Dtype::F32, 12));
    }
}

#[test]
fn every_place_can_be_gone_on_from() {
    let bytes = file("F16", &tensors());
    let whole = joined(&run(&mut transcoder(&bytes, None), &bytes, start(&bytes), 500).unwrap());
    for output in 0..=whole.len() {
        let mut transcoder = transcoder(&bytes, None);
        let start = transcoder.begin(output as u64, None).unwrap();
        assert!(start.output <= output as u64);
        let rest = joined(&run(&mut transcoder, &bytes, start, 500).unwrap());
        assert!(rest == whole[start.output as usize..], "{output}");
    }
}

#[test]
fn the_hash_of_the_original_is_checked_over_interruptions() {
    let bytes = file("F16", &tensors());
    let sha256 = hex(&Sha256::digest(&bytes));
    let whole = run(&mut transcoder(&bytes, Some(sha256.clone())), &bytes, start(&bytes), 500).unwrap();
    let mut damaged = bytes.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let fails = |error: Error| assert_eq!(error.code(), "damaged_file");
    fails(run(&mut transcoder(&damaged, Some(sha256.clone())), &damaged, start(&bytes), 500).unwrap_err());
    let mut output = 0;
    for (piece, checkpoint) in &whole {
        output += piece.len();
        let mut transcoder = transcoder(&bytes, Some(sha256.clone()));
        let start = transcoder.begin(output as u64, checkpoint.as_deref()).unwrap();
        assert!(start.output <= output as u64);
        let rest = joined(&run(&mut transcoder, &bytes, start, 500).unwrap());
        assert!(rest == joined(&whole)[start.output as usize..]);
        if (start.source as usize) < bytes.len() {
            let start = transcoder.begin(output as u64, checkpoint.as_deref()).unwrap();
            fails(run(&mut transcoder, &damaged, start, 500).unwrap_err());
        }
    }
    let late = whole.last().unwrap().1.as_deref();
    let after_header = whole[0].0.len() as u64;
    for (output, checkpoint) in
        [(after_header, late), (after_header, Some(&[1; 9][..])), (after_header, Some(&[]))]
    {
        let error = transcoder(&bytes, Some(sha256.clone())).begin(output, checkpoint).unwrap_err();
        assert_eq!(error.code(), "bad_config");
    }
}

#[test]
fn what_is_packed_or_has_nothing_to_pack_is_left() {
    let bytes = file("F16", &tensors());
    let packed = joined(&run(&mut transcoder(&bytes, None), &bytes, start(&bytes), 500).unwrap());
    for bytes in [packed, file("F16", &[("norm.weight", &[9])])] {
        let header = header_of(&bytes);
        let made = Transcoder::new(PATH, header, bytes.len() as u64, "unet", &Policy::Mixed, None);
        assert!(made.unwrap().is_none());
    }
    let whole = write(
        PATH,
        &[NamedTensor {
            name: "a.weight".into(),
            shape: vec![32, 32],
            data: TensorData::F32(vec![f32::NAN; 1024]),
        }],
    );
    let nan = whole.unwrap();
    let error = run(&mut transcoder(&nan, None), &nan, start(&nan), 100).unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
    assert_eq!(transcoder(&bytes, None).push(&[]).unwrap(), 0);
}
