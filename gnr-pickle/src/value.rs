//! The values of a pickle, which refer to each other by their numbers in one arena.

use std::{borrow::Cow, fmt};

use super::text;
use crate::budget::{Budget, Exhausted};

/// A value of a pickle: its index in the arena, or a whole number of 31 bits itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// The bit of an [`Id`] that marks the other bits as a whole number, not an index.
const NUMBER: u32 = 1 << 31;

impl Id {
    /// `None` and floating-point numbers, which no reader asks for.
    pub(crate) const OTHER: Self = Self(0);
    /// `True` and `False`.
    pub(crate) const TRUE: Self = Self(1);
    pub(crate) const FALSE: Self = Self(2);
    /// The empty tuple, which many calls have as arguments and which never changes.
    pub(crate) const EMPTY: Self = Self(3);

    /// A whole number in place of an index, from −2³⁰ to 2³⁰ − 1; `None` for others.
    pub(crate) fn number(value: i64) -> Option<Self> {
        let value = i32::try_from(value).ok().filter(|value| (-(1 << 30)..1 << 30).contains(value))?;
        Some(Self(value as u32 | NUMBER))
    }

    /// The whole number; `None` for an index.
    fn as_number(self) -> Option<i64> {
        // The sign is the highest of the 31 bits.
        (self.0 & NUMBER != 0).then_some(i64::from((self.0 << 1) as i32 >> 1))
    }

    /// The index in the arena; `None` for a whole number.
    pub(crate) fn position(self) -> Option<usize> {
        (self.0 & NUMBER == 0).then_some(self.0 as usize)
    }

    pub(crate) fn index(index: usize) -> Option<Self> {
        u32::try_from(index).ok().filter(|index| index & NUMBER == 0).map(Self)
    }
}

/// A range of the pickle's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The encoding of a text in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8, or bytes, which Python 2 did not distinguish from text.
    Plain,
    /// Python's escapes between quotes (protocol 0).
    Quoted,
    /// `\uXXXX` among Latin-1 (protocol 0).
    RawEscape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    List,
    Tuple,
    Set,
}

#[derive(Debug)]
pub(crate) enum Value {
    Other,
    Bool(bool),
    Int(i64),
    /// A whole number of more than 64 bits, little-endian.
    Long(Span),
    Text(Span, Encoding),
    Bytes(Span),
    Sequence(Sequence, Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, by the name of its module and its own name.
    Global(Span, Span),
    /// A class by its number in Python's registry, which is not in the file.
    Extension(u32),
    /// Data outside the pickle, by name (a persistent id).
    Persistent(Id),
    Object(Object),
}

/// Values by index, in pieces. One vector would be copied as it grows, and need room for both copies.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    pieces: Vec<Vec<Value>>,
}

/// Number of values in a piece.
const PIECE: usize = 256;

impl Arena {
    pub(crate) fn len(&self) -> usize {
        self.pieces.len().saturating_sub(1) * PIECE + self.pieces.last().map_or(0, Vec::len)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Value> {
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    pub(crate) fn push(&mut self, value: Value, budget: &mut Budget) -> Result<(), Exhausted> {
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            let mut piece = Vec::new();
            budget.reserve(&mut piece, PIECE)?;
            budget.push(&mut self.pieces, piece)?;
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(value);
        }
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &Value> {
        self.pieces.iter().flatten()
    }
}

/// A call that was not made, in place of its result.
#[derive(Debug)]
pub struct Object {
    /// The class or function: a global, or the result of another call.
    pub callable: Id,
    /// The arguments, as a tuple.
    pub arguments: Id,
    /// The state that the result would get through `__setstate__` or `__dict__`.
    pub state: Option<Id>,
    /// Most objects have no contents, so the box keeps a [`Value`] at 32 bytes.
    contents: Option<Box<Contents>>,
}

/// Items and pairs that the result of a call would get.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) items: Vec<Id>,
    pub(crate) pairs: Vec<(Id, Id)>,
}

impl Object {
    /// The call of `callable` with `arguments`, without state or contents.
    pub fn new(callable: Id, arguments: Id) -> Self {
        Self { callable, arguments, state: None, contents: None }
    }

    /// The items that would be appended or added to the result.
    pub fn items(&self) -> &[Id] {
        self.contents.as_ref().map_or(&[], |contents| &contents.items)
    }

    /// The keys and values that would be set in the result.
    pub fn pairs(&self) -> &[(Id, Id)] {
        self.contents.as_ref().map_or(&[], |contents| &contents.pairs)
    }

    /// The contents, for adding to them.
    pub(crate) fn contents(&mut self, budget: &mut Budget) -> Result<&mut Contents, Exhausted> {
        if self.contents.is_none() {
            // 16 bytes are the allocator's own needs for the box.
            budget.take(size_of::<Contents>() + 16)?;
        }
        Ok(self.contents.get_or_insert_default())
    }
}

/// A value as a reader sees it.
#[derive(Debug)]
pub enum View<'p> {
    /// `None` or a floating-point number.
    Other,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// An integer of more than 64 bits, little-endian, in two's complement.
    Long(&'p [u8]),
    /// A text, or bytes of Python 2, which does not distinguish them from text.
    Text(Text<'p>),
    /// Bytes, or a `bytearray`.
    Bytes(&'p [u8]),
    /// A list, tuple or set.
    Items(&'p [Id]),
    /// Keys and values of a dictionary, in the order in which they were set; the last of equal keys counts.
    Pairs(&'p [(Id, Id)]),
    /// A class or function.
    Global(Global<'p>),
    /// A class by its number in Python's registry of classes (`copyreg`).
    Extension(u32),
    /// Data outside the pickle, by name (a persistent id).
    Persistent(Id),
    /// A call in place of its result.
    Object(&'p Object),
}

/// A text, not yet decoded: a long one may be met at many places.
#[derive(Clone, Copy, Debug)]
pub struct Text<'p> {
    bytes: &'p [u8],
    encoding: Encoding,
}

impl<'p> Text<'p> {
    /// The decoded text. Bytes that are no text become U+FFFD.
    pub fn decode(self) -> Cow<'p, str> {
        text::decode(self.bytes, self.encoding)
    }

    /// The bytes that Python 2 wrote as a string: those of the file, without the escapes of protocol 0.
    pub fn bytes(self) -> Cow<'p, [u8]> {
        text::bytes(self.bytes, self.encoding)
    }

    /// The bytes behind a text of Latin-1, which Python 3 writes in protocols 0 to 2, because these have no bytes.
    /// `None` for a text with other characters. Bytes that are not UTF-8 are taken as they are.
    pub fn latin1(self) -> Option<Cow<'p, [u8]>> {
        text::latin1(self.bytes, self.encoding)
    }

    /// Number of bytes of the text in the file.
    pub fn len(self) -> usize {
        self.bytes.len()
    }

    /// Whether the text has no characters.
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the text is `word`, a word without characters to escape.
    pub fn is(self, word: &str) -> bool {
        self.bytes == word.as_bytes()
    }
}

/// A class or function, by the name of its module and its own name.
#[derive(Clone, Copy, Debug)]
pub struct Global<'p> {
    module: &'p [u8],
    name: &'p [u8],
}

impl Global<'_> {
    /// The class's or function's own name, if its module is `module`.
    pub fn of(&self, module: &str) -> Option<&str> {
        self.name().filter(|_| self.module == module.as_bytes())
    }

    /// The class's or function's own name, if it is UTF-8.
    pub fn name(&self) -> Option<&str> {
        std::str::from_utf8(self.name).ok()
    }

    /// Number of bytes of both names, which is the cost of writing them once more.
    pub fn written(self) -> usize {
        self.module.len() + self.name.len()
    }
}

impl fmt::Display for Global<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", String::from_utf8_lossy(self.module), String::from_utf8_lossy(self.name))
    }
}

/// A parsed pickle.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) values: Arena,
    pub(crate) root: Id,
    /// Offset of the end of the pickle in its bytes.
    pub end: usize,
}

impl Pickle<'_> {
    /// The value that the pickle makes.
    pub fn root(&self) -> Id {
        self.root
    }

    fn span(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The value that `id` stands for.
    pub fn view(&self, id: Id) -> View<'_> {
        if let Some(number) = id.as_number() {
            return View::Int(number);
        }
        match self.values.get(id.0 as usize) {
            None | Some(Value::Other) => View::Other,
            Some(Value::Bool(value)) => View::Bool(*value),
            Some(Value::Int(value)) => View::Int(*value),
            Some(Value::Long(span)) => View::Long(self.span(*span)),
            Some(Value::Text(span, encoding)) => {
                View::Text(Text { bytes: self.span(*span), encoding: *encoding })
            }
            Some(Value::Bytes(span)) => View::Bytes(self.span(*span)),
            Some(Value::Sequence(_, items)) => View::Items(items),
            Some(Value::Dict(pairs)) => View::Pairs(pairs),
            Some(Value::Global(module, name)) => {
                View::Global(Global { module: self.span(*module), name: self.span(*name) })
            }
            Some(Value::Extension(code)) => View::Extension(*code),
            Some(Value::Persistent(id)) => View::Persistent(*id),
            Some(Value::Object(object)) => View::Object(object),
        }
    }

    /// The text that `id` stands for.
    pub fn text(&self, id: Id) -> Option<Text<'_>> {
        match self.view(id) {
            View::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list, tuple or set.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.view(id) {
            View::Items(items) => Some(items),
            _ => None,
        }
    }

    /// The names of all data outside the pickle (persistent ids).
    pub fn persistent(&self) -> impl Iterator<Item = Id> {
        self.values.iter().filter_map(|value| match value {
            Value::Persistent(id) => Some(*id),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_themselves() {
        for value in [0, 1, -1, 255, -256, (1 << 30) - 1, -(1 << 30)] {
            let id = Id::number(value).unwrap();
            assert_eq!((id.as_number(), id.position()), (Some(value), None));
        }
        assert_eq!(size_of::<Value>(), 32);
        assert_eq!((Id::number(1 << 30), Id::number(-(1 << 30) - 1)), (None, None));
        assert_eq!((Id::OTHER.as_number(), Id::OTHER.position()), (None, Some(0)));
    }
}
