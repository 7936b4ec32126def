//! What a pickle holds, as numbers into one arena.

use std::{borrow::Cow, fmt};

use super::text;
use crate::weights::budget::{Budget, Exhausted};

/// A value of a pickle: a number into its arena, or a whole number of 31 bits itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::weights) struct Id(u32);

/// The bit that says that the rest of an [`Id`] is a number.
const NUMBER: u32 = 1 << 31;

impl Id {
    /// What no reader asks for: `None`, floating-point numbers, bytes.
    pub(super) const OTHER: Self = Self(0);
    /// `True` and `False`.
    pub(super) const TRUE: Self = Self(1);
    pub(super) const FALSE: Self = Self(2);
    /// The empty tuple, which is met at every call and never changes.
    pub(super) const EMPTY: Self = Self(3);

    /// A number in place of an index, from −2³⁰ to 2³⁰ − 1.
    pub(super) fn number(value: i64) -> Option<Self> {
        let value = i32::try_from(value).ok().filter(|value| (-(1 << 30)..1 << 30).contains(value))?;
        Some(Self(value as u32 | NUMBER))
    }

    /// The number, if it is one.
    fn as_number(self) -> Option<i64> {
        // The sign is the highest of the 31 bits.
        (self.0 & NUMBER != 0).then_some(i64::from((self.0 << 1) as i32 >> 1))
    }

    /// The place in the arena, unless it is a number.
    pub(super) fn position(self) -> Option<usize> {
        (self.0 & NUMBER == 0).then_some(self.0 as usize)
    }

    pub(super) fn index(index: usize) -> Option<Self> {
        u32::try_from(index).ok().filter(|index| index & NUMBER == 0).map(Self)
    }
}

/// A range of the pickle's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// How a text is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As UTF-8, or as bytes that Python 2 did not tell from text.
    Plain,
    /// Python's escapes between quotes (protocol 0).
    Quoted,
    /// `\uXXXX` among Latin-1 (protocol 0).
    RawEscape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    List,
    Tuple,
    Set,
}

#[derive(Debug)]
pub(super) enum Value {
    Other,
    Bool(bool),
    Int(i64),
    /// More than 64 bits, little-endian.
    Long(Span),
    Text(Span, Encoding),
    Sequence(Sequence, Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function by the names of its module and its own.
    Global(Span, Span),
    /// A number in Python's registry of classes, which a file does not carry.
    Extension(u32),
    /// What is kept outside the pickle, under this name.
    Persistent(Id),
    Object(Object),
}

/// Values by number, in pieces: a vector of all would be copied as it grows, and need room for both.
#[derive(Debug, Default)]
pub(super) struct Arena {
    pieces: Vec<Vec<Value>>,
}

/// Values in a piece.
const PIECE: usize = 256;

impl Arena {
    pub(super) fn len(&self) -> usize {
        self.pieces.len().saturating_sub(1) * PIECE + self.pieces.last().map_or(0, Vec::len)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Value> {
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Value> {
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    pub(super) fn push(&mut self, value: Value, budget: &mut Budget) -> Result<(), Exhausted> {
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

/// What a call would have made.
#[derive(Debug)]
pub(in crate::weights) struct Object {
    /// Class or function: a global, or the result of another call.
    pub(in crate::weights) callable: Id,
    /// Arguments, as a tuple.
    pub(in crate::weights) arguments: Id,
    /// What was to be given to `__setstate__` or `__dict__`.
    pub(in crate::weights) state: Option<Id>,
    /// Of most objects there are none: this keeps a [`Value`] at 32 bytes.
    contents: Option<Box<Contents>>,
}

/// What was to be put into an object.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) items: Vec<Id>,
    pub(super) pairs: Vec<(Id, Id)>,
}

impl Object {
    pub(in crate::weights) fn new(callable: Id, arguments: Id) -> Self {
        Self { callable, arguments, state: None, contents: None }
    }

    /// What was to be appended or added.
    pub(in crate::weights) fn items(&self) -> &[Id] {
        self.contents.as_ref().map_or(&[], |contents| &contents.items)
    }

    /// What was to be set as key and value.
    pub(in crate::weights) fn pairs(&self) -> &[(Id, Id)] {
        self.contents.as_ref().map_or(&[], |contents| &contents.pairs)
    }

    /// What more is to be put into it.
    pub(super) fn contents(&mut self, budget: &mut Budget) -> Result<&mut Contents, Exhausted> {
        if self.contents.is_none() {
            // With the allocator's own needs for the box.
            budget.take(size_of::<Contents>() + 16)?;
        }
        Ok(self.contents.get_or_insert_default())
    }
}

/// A value as a reader sees it.
#[derive(Debug)]
pub(in crate::weights) enum View<'p> {
    /// `None`, a floating-point number, bytes.
    Other,
    Bool(bool),
    Int(i64),
    /// More than 64 bits, little-endian.
    Long(&'p [u8]),
    Text(Text<'p>),
    /// A list, tuple or set.
    Items(&'p [Id]),
    Pairs(&'p [(Id, Id)]),
    Global(Global<'p>),
    Extension(u32),
    Persistent(Id),
    Object(&'p Object),
}

/// A text, not yet decoded: a long one may be met at many places.
#[derive(Clone, Copy, Debug)]
pub(in crate::weights) struct Text<'p> {
    bytes: &'p [u8],
    encoding: Encoding,
}

impl<'p> Text<'p> {
    pub(in crate::weights) fn decode(self) -> Cow<'p, str> {
        text::decode(self.bytes, self.encoding)
    }

    /// Bytes that it takes in the file.
    pub(in crate::weights) fn len(self) -> usize {
        self.bytes.len()
    }

    /// Whether it is this word, which has nothing to escape.
    pub(in crate::weights) fn is(self, word: &str) -> bool {
        self.bytes == word.as_bytes()
    }
}

/// A class or function by the names of its module and its own.
#[derive(Clone, Copy, Debug)]
pub(in crate::weights) struct Global<'p> {
    module: &'p [u8],
    name: &'p [u8],
}

impl Global<'_> {
    /// Its name, if the module is this one.
    pub(in crate::weights) fn of(&self, module: &str) -> Option<&str> {
        std::str::from_utf8(self.name).ok().filter(|_| self.module == module.as_bytes())
    }

    /// Bytes of both names.
    pub(in crate::weights) fn len(self) -> usize {
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
pub(in crate::weights) struct Pickle<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) values: Arena,
    pub(super) root: Id,
    /// Where the pickle ends in its bytes.
    pub(in crate::weights) end: usize,
}

impl Pickle<'_> {
    pub(in crate::weights) fn root(&self) -> Id {
        self.root
    }

    fn span(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    pub(in crate::weights) fn view(&self, id: Id) -> View<'_> {
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
    pub(in crate::weights) fn text(&self, id: Id) -> Option<Text<'_>> {
        match self.view(id) {
            View::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list, tuple or set.
    pub(in crate::weights) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.view(id) {
            View::Items(items) => Some(items),
            _ => None,
        }
    }

    /// The names of all that is kept outside.
    pub(in crate::weights) fn persistent(&self) -> impl Iterator<Item = Id> {
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
