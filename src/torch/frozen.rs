//! Tensors that nobody writes any more, shared between runs and threads.

use crate::torch::kernels::Weight;
use crate::torch::nf4::Nf4;
use crate::torch::{TorchError, heap, raw};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use tch::{Device, Tensor};

/// Named tensors that are never written after this value is made, and never require a gradient; matrices among them may
/// be in 4 bits.
#[derive(Debug, Default)]
pub struct Frozen {
    floats: RwLock<Floats>,
    quantized: BTreeMap<String, Nf4>,
}

#[derive(Debug, Default)]
struct Floats {
    tensors: BTreeMap<String, Tensor>,
    /// Those that lie in files.
    aside: BTreeSet<String>,
}

// SAFETY: libtorch counts references atomically and reads of a tensor that nobody writes are safe from any thread;
// this type gives out handles of such tensors only, and `Frozen::new` takes the tensors whole.
unsafe impl Sync for Frozen {}

impl Frozen {
    /// Takes the tensors; they no longer require gradients.
    pub fn new(weights: BTreeMap<String, Weight>) -> Frozen {
        let (mut tensors, mut quantized) = (BTreeMap::new(), BTreeMap::new());
        for (name, weight) in weights {
            match weight {
                Weight::Plain(tensor) => drop(tensors.insert(name, tensor.set_requires_grad(false))),
                Weight::Nf4(held) => drop(quantized.insert(name, held)),
            }
        }
        Frozen { floats: RwLock::new(Floats { tensors, aside: BTreeSet::new() }), quantized }
    }

    pub fn get(&self, name: &str) -> Option<Tensor> {
        self.read().tensors.get(name).map(Tensor::shallow_clone)
    }

    /// All that are floats.
    pub fn floats(&self) -> BTreeMap<String, Tensor> {
        let handle = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.shallow_clone());
        self.read().tensors.iter().map(handle).collect()
    }

    pub fn nf4(&self, name: &str) -> Option<&Nf4> {
        self.quantized.get(name)
    }

    pub fn quantized(&self) -> impl Iterator<Item = (&String, &Nf4)> {
        self.quantized.iter()
    }

    /// Moves tensors of these names that lie in the heap of large tensors into files of the folder that have no name. On an
    /// error what has not been moved stays where it is.
    pub fn lay_aside(&self, folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), TorchError> {
        for (name, tensor) in self.floats() {
            let is_large = raw::size(&tensor) >= heap::LEAST && tensor.device() == Device::Cpu;
            if !is_large || !wanted(&name) || self.read().aside.contains(&name) {
                continue;
            }
            let mapped = mapped(&tensor, folder)?;
            let mut floats = self.floats.write().unwrap_or_else(PoisonError::into_inner);
            floats.tensors.insert(name.clone(), mapped);
            floats.aside.insert(name);
        }
        Ok(())
    }

    /// Bytes of those that lie in files.
    pub fn bytes_aside(&self) -> u64 {
        let floats = self.read();
        floats.aside.iter().map(|name| raw::size(&floats.tensors[name])).sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, Floats> {
        self.floats.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same numbers in the memory of a file. It has no name, so nothing of it is left when the process ends, however it ends.
#[cfg(target_os = "linux")]
fn mapped(tensor: &Tensor, folder: &Path) -> Result<Tensor, TorchError> {
    use std::os::fd::AsRawFd;
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&raw::bytes_of(tensor)?)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let options = (tensor.kind(), Device::Cpu);
    let numbers = Tensor::f_from_file(&path, false, tensor.numel() as i64, options)?;
    Ok(numbers.f_view(tensor.size().as_slice())?)
}

#[cfg(not(target_os = "linux"))]
fn mapped(_: &Tensor, _: &Path) -> Result<Tensor, TorchError> {
    Err(TorchError::Operation("a file without a name cannot be mapped on this system".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_laid_aside_is_read_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let large = |kind| Tensor::randn([300, 200], (Kind::Float, Device::Cpu)).to_kind(kind);
        let tensors = [
            ("wide", large(Kind::Float)),
            ("half", large(Kind::BFloat16)),
            ("other", large(Kind::Float)),
            ("small", Tensor::ones([8], (Kind::Float, Device::Cpu))),
        ];
        let weights = tensors.iter().map(|(name, tensor)| (name.to_string(), Weight::Plain(tensor.copy())));
        let frozen = Frozen::new(weights.collect());
        let held = frozen.get("wide").unwrap();
        frozen.lay_aside(folder.path(), |name| name != "other").unwrap();
        assert_eq!(frozen.bytes_aside(), 300 * 200 * (4 + 2));
        for (name, tensor) in &tensors {
            assert_eq!(frozen.get(name).unwrap(), *tensor, "{name}");
        }
        assert_ne!(frozen.get("wide").unwrap().data_ptr(), held.data_ptr());
        assert_eq!(held, tensors[0].1, "whoever held it still does");
        let place = frozen.get("wide").unwrap().data_ptr();
        frozen.lay_aside(folder.path(), |_| true).unwrap();
        assert_eq!(frozen.get("wide").unwrap().data_ptr(), place, "once is enough");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the files have no name");
    }

    #[test]
    fn where_no_file_can_be_written_all_stays() {
        let tensor = Tensor::randn([300, 200], (Kind::Float, Device::Cpu));
        let frozen = Frozen::new([("wide".to_string(), Weight::Plain(tensor.copy()))].into());
        let no_folder = tempfile::NamedTempFile::new().unwrap();
        assert!(frozen.lay_aside(no_folder.path(), |_| true).is_err());
        assert_eq!((frozen.get("wide").unwrap(), frozen.bytes_aside()), (tensor, 0));
    }
}
