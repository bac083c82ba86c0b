package org.tinyaya.demo.tokenizer

/** The alphabet in which byte-level tokenizers write bytes: printable characters in place of all others. */
internal object ByteLevel {
    private val BYTES: Map<Char, Byte> =
        buildMap {
            val printable = (0x21..0x7e) + (0xa1..0xac) + (0xae..0xff)
            var other = 0x100
            for (byte in 0..255) put((if (byte in printable) byte else other++).toChar(), byte.toByte())
        }

    /** The bytes that [text] stands for; null if it has a character that stands for none. */
    fun bytes(text: String): ByteArray? {
        val bytes = ByteArray(text.length)
        for (i in text.indices) bytes[i] = BYTES[text[i]] ?: return null
        return bytes
    }
}
