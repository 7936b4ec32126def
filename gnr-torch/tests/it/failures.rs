//! LibTorch's failures are errors that say what was asked for, of what and where.

use gnr_nn::{Arithmetic, Autodiff};
use gnr_torch::{Device, Failure, Precision, Torch};

use crate::torch;

#[test]
fn out_of_memory_names_operation_shapes_and_what_to_lower() {
    let b = torch(Precision::F64);
    let x = b.constant(&[1.0], &[1, 1]).unwrap();
    // 2⁶⁰ bytes are more than any machine has; the broadcast itself takes none.
    let wide = b.broadcast(&x, &[1 << 28, 1 << 29]).unwrap();
    let error = b.affine(&wide, 2.0, 0.0).unwrap_err();
    let gnr_nn::Error::Library(source) = &error else { panic!("{error}") };
    let failure = source.downcast_ref::<Failure>().unwrap();
    assert!(failure.is_out_of_memory(), "{failure}");
    assert_eq!((failure.operation, &failure.shapes[..]), ("affine", &[vec![1 << 28, 1 << 29]][..]));
    let text = error.to_string();
    for words in ["affine of [268435456, 536870912] on cpu, f64", "train.batch_size", "train.micro_batches"] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    assert!(!text.contains("Exception raised from") && !text.contains('\n'), "no stack trace: {text}");
    // The backend still works.
    assert_eq!(b.to_host(&b.affine(&x, 2.0, 1.0).unwrap()).unwrap(), [3.0]);
}

#[test]
fn a_device_that_is_not_there_is_refused_with_the_reason() {
    assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
    assert_eq!("cuda:3".parse::<Device>().unwrap().to_string(), "cuda:3");
    let error = "gpu".parse::<Device>().unwrap_err().to_string();
    assert!(error.contains("\"gpu\": expected cpu, cuda or cuda:N"), "{error}");
    // No machine has a thousand cards; most of those that run this have no library either.
    let error = Torch::new(Device::Cuda(1000), Precision::F32).unwrap_err().to_string();
    let reasons = ["libtorch_cuda.so cannot be loaded", "finds no card", "this machine has"];
    assert!(reasons.iter().any(|reason| error.contains(reason)), "{error}");
}
