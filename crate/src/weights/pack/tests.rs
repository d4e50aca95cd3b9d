use super::transcoder::{Start, Transcoder};
use super::*;
use crate::weights::block_on;
use crate::weights::dump::{NamedTensor, TensorData, write};
use crate::weights::safetensors::{Dtype, parse_header};

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

fn transcoder(bytes: &[u8]) -> Transcoder {
    let size = bytes.len() as u64;
    Transcoder::of_part(PATH, header_of(bytes), size, "text_encoder", &Policy::Mixed).unwrap().unwrap()
}

/// A piece of output, and what the transcoder had opened when it came.
type Taken = (Vec<u8>, u64);

/// What comes out from `start` on when the original comes in pieces of `piece` bytes.
fn run(transcoder: &mut Transcoder, bytes: &[u8], start: Start, piece: usize) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    let mut drain = |transcoder: &mut Transcoder| -> Result<()> {
        while let Some(bytes) = transcoder.take()? {
            taken.push((bytes, transcoder.opened()));
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
            let mut transcoder = transcoder(&bytes);
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
    let whole = joined(&run(&mut transcoder(&bytes), &bytes, start(&bytes), 500).unwrap());
    for output in 0..=whole.len() {
        let mut transcoder = transcoder(&bytes);
        let start = transcoder.begin(output as u64, None).unwrap();
        assert!(start.output <= output as u64);
        let rest = joined(&run(&mut transcoder, &bytes, start, 500).unwrap());
        assert!(rest == whole[start.output as usize..], "{output}");
    }
}

/// Who needs all bytes of the original from some place on, in order, finds that place again.
#[test]
fn what_was_opened_leads_on_without_a_gap() {
    let bytes = file("F16", &tensors());
    let pieces = run(&mut transcoder(&bytes), &bytes, start(&bytes), 500).unwrap();
    let whole = joined(&pieces);
    let mut output = 0;
    for (piece, opened) in &pieces {
        output += piece.len();
        let mut transcoder = transcoder(&bytes);
        let start = transcoder.begin(output as u64, Some(*opened)).unwrap();
        assert!(start.output <= output as u64 && start.source == *opened);
        let rest = joined(&run(&mut transcoder, &bytes, start, 500).unwrap());
        assert!(rest == whole[start.output as usize..], "{output}");
    }
    let (after_header, late) = (pieces[0].0.len() as u64, pieces.last().unwrap().1);
    for output in [0, after_header] {
        let error = transcoder(&bytes).begin(output, Some(late)).unwrap_err();
        assert_eq!(error.code(), "bad_config");
    }
}

#[test]
fn weights_in_other_formats_are_refused_by_the_header() {
    let of = |dtype: &str, bytes: usize| {
        let json = json!({
            "z.bias": { "dtype": dtype, "shape": [3], "data_offsets": [0, 3 * bytes] },
            "position_ids": { "dtype": "I64", "shape": [2], "data_offsets": [3 * bytes, 3 * bytes + 16] },
            "a.weight": { "dtype": "F16", "shape": [32, 32], "data_offsets": [3 * bytes + 16, 3 * bytes + 2064] },
        });
        let json = json.to_string();
        let header = [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
        let size = (header.len() + 3 * bytes + 2064) as u64;
        Transcoder::of_part(PATH, &header, size, "unet", &Policy::Mixed).map(|made| made.is_some())
    };
    assert!(of("F16", 2).unwrap() && of("BF16", 2).unwrap());
    for (dtype, bytes) in [("F64", 8), ("I64", 8), ("F8_E4M3", 1), ("F8_E5M2", 1)] {
        let error = of(dtype, bytes).unwrap_err();
        assert_eq!(error.code(), "unsupported_dtype");
        assert!(error.to_string().contains(&format!("`z.bias` is stored as {dtype}")), "{error}");
    }
}

#[test]
fn what_is_packed_or_has_nothing_to_pack_is_left() {
    let bytes = file("F16", &tensors());
    let packed = joined(&run(&mut transcoder(&bytes), &bytes, start(&bytes), 500).unwrap());
    for bytes in [packed, file("F16", &[("norm.weight", &[9])])] {
        let header = header_of(&bytes);
        let made = Transcoder::of_part(PATH, header, bytes.len() as u64, "unet", &Policy::Mixed);
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
    let error = run(&mut transcoder(&nan), &nan, start(&nan), 100).unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
    assert_eq!(transcoder(&bytes).push(&[]).unwrap(), 0);
}
