// Package pseudonym gives people, handles, hosts and addresses names that say nothing, the same ones each time, and finds their real names in
// texts.
//
// A pseudonym such as "person-K4T9-W2MX" is an HMAC of a real name under a key that lies with the other keys: who has the pseudonym and not
// the key cannot try names against it. Nothing is stored. A Roll learns who there is, from the directory and from the record, and so can go
// from a pseudonym back to a name, and find the names that it knows in a text, at the boundaries of words. A name that nobody told the Roll
// of is not found in a text.
package pseudonym
