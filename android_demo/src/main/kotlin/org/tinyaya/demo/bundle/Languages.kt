package org.tinyaya.demo.bundle

import java.util.Locale

/** A bundle in, the languages that it speaks out; the app itself knows none. */
object Languages {
    private val CODE = Regex("[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

    /** By code: those that a cut vocabulary is for, else those of the golden texts. Throws [BundleError]. */
    fun of(bundle: Bundle): List<String> {
        val codes = bundle.manifest.languages?.takeIf { it.isNotEmpty() } ?: bundle.goldenTokens().map { it.name }
        return codes.filter { CODE.matches(it) && isLanguage(it) }.distinct().sorted()
    }

    /** The name of [code] in the language of [locale]. */
    fun display(code: String, locale: Locale): String =
        Locale.forLanguageTag(code).getDisplayName(locale).ifEmpty { code }

    /** The name of [code] in English, for the instruction that the model reads. */
    fun english(code: String): String = display(code, Locale.ENGLISH)

    /** Golden texts also have cases such as "code" and "emoji", which are no languages. */
    private fun isLanguage(code: String): Boolean {
        val locale = Locale.forLanguageTag(code)
        return locale.getDisplayLanguage(Locale.ENGLISH) != locale.language
    }
}

/** How far a program is from the unquantized model: KL in thousandths of a nat, and where it is largest. */
data class QualityFigures(val meanMnat: Double, val worstLanguage: String, val worstMnat: Double) {
    companion object {
        /** The short form of an evaluation that a manifest keeps; null where there is none that says this. */
        fun of(manifest: Manifest): QualityFigures? {
            val quality = manifest.quality ?: return null
            val mean = (quality["mean_kl"] as? Number)?.toDouble() ?: return null
            val worst = (quality["worst_kl"] as? Number)?.toDouble() ?: return null
            return QualityFigures(mean * 1000, quality["worst_language"] as? String ?: return null, worst * 1000)
        }
    }
}
