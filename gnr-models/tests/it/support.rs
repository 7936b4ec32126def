//! Checkpoints written by hand: archives and pickles of any content, also such as no program would write.

/// A ZIP archive of stored members, with the checksums that belong to them.
pub(crate) fn zip<N: AsRef<[u8]>, B: AsRef<[u8]>>(members: &[(N, B)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let (name, bytes) = (name.as_ref(), bytes.as_ref());
        let offset = file.len() as u32;
        let (crc, length) = (crc32fast::hash(bytes), bytes.len() as u32);
        let mut common = Vec::new();
        for number in [20u16, 0, 0, 0, 0] {
            common.extend(number.to_le_bytes());
        }
        for number in [crc, length, length] {
            common.extend(number.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        file.extend([&b"PK\x03\x04"[..], &common, name, bytes].concat());
        directory.extend(
            [&b"PK\x01\x02"[..], &20u16.to_le_bytes(), &common, &[0; 10], &offset.to_le_bytes(), name]
                .concat(),
        );
    }
    let (start, length, count) = (file.len() as u32, directory.len() as u32, members.len() as u16);
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    file.extend([length.to_le_bytes(), start.to_le_bytes()].concat());
    file.extend([0, 0]);
    file
}

/// A checkpoint of today: this pickle, and these storages.
pub(crate) fn checkpoint(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut members =
        vec![("c/data.pkl".to_owned(), pickle.to_vec()), ("c/byteorder".into(), b"little".to_vec())];
    members.extend(storages.iter().map(|(key, bytes)| (format!("c/data/{key}"), bytes.to_vec())));
    members.push(("c/version".into(), b"3\n".to_vec()));
    zip(&members)
}

/// A checkpoint as before PyTorch 1.6: this pickle, and storages with their numbers of elements.
pub(crate) fn legacy(pickle: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut file =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    file.extend(pickle);
    let mut keys = Pickle::new().op(b"](");
    for (key, _, _) in storages {
        keys = keys.text(key);
    }
    file.extend(keys.op(b"e").end());
    for (_, elements, bytes) in storages {
        file.extend(elements.to_le_bytes());
        file.extend(*bytes);
    }
    file
}

/// The first two numbers, 1.0 and 2.0, and more of their kind.
pub(crate) fn floats(count: u16) -> Vec<u8> {
    (1..=count).flat_map(|number| f32::from(number).to_le_bytes()).collect()
}

/// A pickle, operation by operation.
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    pub(crate) fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    pub(crate) fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    pub(crate) fn int(self, value: i64) -> Self {
        self.op(b"\x8a\x08").op(&value.to_le_bytes())
    }

    pub(crate) fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.op(b"("), |pickle, &value| pickle.int(value)).op(b"t")
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    /// The storage of this class and key.
    pub(crate) fn storage(self, class: &str, key: &str, elements: i64) -> Self {
        self.op(b"(").text("storage").global("torch", class).text(key).text("cpu").int(elements).op(b"tQ")
    }

    /// `_rebuild_tensor_v2` of storage `0` with this many elements.
    pub(crate) fn tensor(self, elements: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        let start =
            self.global("torch._utils", "_rebuild_tensor_v2").op(b"(").storage("FloatStorage", "0", elements);
        start.int(offset).ints(shape).ints(strides).op(b"\x89NtR")
    }

    /// An object of this class, with these bytes after its creation.
    pub(crate) fn object(self, module: &str, name: &str, then: &[u8]) -> Self {
        self.global(module, name).op(b")\x81").op(then)
    }

    /// A dictionary of weights `fc.weight` [2, 2] and `fc.bias` [2], and of what `other` adds under its own keys.
    pub(crate) fn beside(other: impl FnOnce(Self) -> Self) -> Vec<u8> {
        let weights = Self::new().op(b"}(").text("fc.weight").tensor(4, 0, &[2, 2], &[2, 1]);
        other(weights.text("fc.bias").tensor(4, 2, &[2], &[1])).op(b"u").end()
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.op(b".").0
    }
}
