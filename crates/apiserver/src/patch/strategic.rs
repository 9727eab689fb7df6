//! Strategic merge: a patch has the form of the object, lists are merged by the keys of the [types](crate::schema), and
//! directives (`$patch`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`, `$retainKeys`) say the rest.

