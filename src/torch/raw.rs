//! Tensors from bytes and back: what files hold, without a copy more than needed.

use crate::torch::TorchError;
use rayon::prelude::*;
use std::borrow::Cow;
use tch::{Device, Kind, Tensor};

/// Bytes that one core copies at a time.
const TOGETHER: usize = 1 << 20;

/// A tensor on the CPU with a copy of little-endian bytes, whose number must fit shape and kind.
pub fn from_bytes(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<Tensor, TorchError> {
    let elements = shape.iter().try_fold(1usize, |all, size| usize::try_from(*size).ok()?.checked_mul(all));
    let needed = elements.and_then(|elements| elements.checked_mul(kind.elt_size_in_bytes()));
    if needed != Some(bytes.len()) {
        let (needed, kind) = (needed.unwrap_or(usize::MAX), format!("{kind:?}"));
        return Err(TorchError::Bytes { shape: shape.to_vec(), kind, needed, given: bytes.len() });
    }
    let mut tensor = Tensor::f_empty(shape, (kind, Device::Cpu))?;
    // SAFETY: the shape has so many bytes.
    let place = unsafe { fresh::<u8>(&mut tensor, bytes.len()) };
    // A large tensor's memory is new to the process: the cores share the faults.
    let pieces = place.par_chunks_mut(TOGETHER).zip(bytes.par_chunks(TOGETHER));
    pieces.for_each(|(to, from)| to.copy_from_slice(from));
    Ok(tensor)
}

/// A float32 tensor on the CPU whose elements are written where they lie, row by row.
pub fn floats<E: From<TorchError>>(
    shape: &[i64],
    write: impl FnOnce(&mut [f32]) -> Result<(), E>,
) -> Result<Tensor, E> {
    let mut tensor = Tensor::f_empty(shape, (Kind::Float, Device::Cpu)).map_err(TorchError::from)?;
    let count = tensor.numel();
    // SAFETY: it has so many floats.
    write(unsafe { fresh::<f32>(&mut tensor, count) })?;
    Ok(tensor)
}

/// The memory of a tensor on the CPU that was just made.
///
/// # Safety
/// The tensor lies row by row and holds at least `count` of `T`, which any bits may be; nobody else holds it.
unsafe fn fresh<T>(tensor: &mut Tensor, count: usize) -> &mut [T] {
    if count == 0 {
        return &mut []; // there is no memory
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), count) }
}

/// The elements of a tensor as little-endian bytes, row by row.
pub fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>, TorchError> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let elements = tensor.numel();
    let mut bytes = vec![0; elements * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, elements)?;
    Ok(bytes)
}

/// The same, looked at where they lie if that is on the CPU and row by row.
pub fn bytes_of(tensor: &Tensor) -> Result<Cow<'_, [u8]>, TorchError> {
    if tensor.device() != Device::Cpu || !tensor.is_contiguous() || cfg!(target_endian = "big") {
        return Ok(Cow::Owned(to_bytes(tensor)?));
    }
    let bytes = size(tensor) as usize;
    if bytes == 0 {
        return Ok(Cow::Borrowed(&[]));
    }
    // SAFETY: a contiguous tensor on the CPU holds so many bytes from there on, for as long as it is borrowed.
    Ok(Cow::Borrowed(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), bytes) }))
}

/// Bytes that the elements of a tensor take.
pub fn size(tensor: &Tensor) -> u64 {
    tensor.numel() as u64 * tensor.kind().elt_size_in_bytes() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_way_there_and_back() {
        let bytes: Vec<u8> =
            [1.5f32, -2.0, 3.25, 0.0, 5.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = from_bytes(&bytes, &[2, 3], Kind::Float).unwrap();
        assert_eq!(tensor.double_value(&[0, 2]), 3.25);
        assert_eq!(to_bytes(&tensor).unwrap(), bytes);
        assert_eq!(size(&tensor), 24);
        assert_eq!(from_bytes(&[], &[0, 3], Kind::Float).unwrap().size(), [0, 3]);
        assert_eq!(to_bytes(&tensor.tr()).unwrap()[4..8], 0f32.to_le_bytes());
        for seen in [&tensor, &tensor.tr(), &tensor.narrow(0, 1, 1), &tensor.narrow(0, 0, 0)] {
            assert_eq!(bytes_of(seen).unwrap().as_ref(), to_bytes(seen).unwrap());
        }
        assert!(matches!(bytes_of(&tensor).unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn a_wrong_number_of_bytes_is_refused() {
        let error = from_bytes(&[0; 7], &[2], Kind::Float).unwrap_err().to_string();
        assert_eq!(error, "a tensor of shape [2] in Float takes 8 bytes, and 7 were given");
        assert!(from_bytes(&[], &[i64::MAX, i64::MAX], Kind::Float).is_err());
    }
}
